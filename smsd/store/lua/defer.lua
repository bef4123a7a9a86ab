-- defer: out of the stream, into the deferred set, until `due`.
-- `attempts` is empty for a text that has never been in line (its `send_at` lies ahead).
local name, mark, id, line, detail, due = take(), take(), take(), take(), take(), take()
local attempts, priority = take(), take()
local fields, why_not = settle(name, mark, false)
if not fields then return why_not end
local kept = without(fields, {id = true, attempts = true, priority = true, send_at = true})
append_all(kept, {'id', id, 'priority', priority})
if attempts ~= '' then append_all(kept, {'attempts', attempts}) end
redis.call('ZADD', DEFERRED, due, id)
redis.call('HSET', MESSAGES, id, cjson.encode(kept))
redis.call('HDEL', STATUS, 'entry')
tell(STATUS, id, 'deferred', line, detail, append_all(take_list(), {'due', due}))
return 'settled'
