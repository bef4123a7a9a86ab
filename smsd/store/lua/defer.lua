-- defer: out of the stream, into the deferred messages, until `due`, without the fields named in `dropped`.
-- include: damage, entries, fields, settle, settle_again, status
-- takes: name, mark, id, due, priority, line, detail, look_up, dropped, attempts?, again?
-- keys: status, status
-- answers: settled | gone | marked
-- changes: queue, high, deferred, deferred_messages, inflight, status, events, store, campaign,
--   campaigns_active, contacts
--
-- The second status is that of the id which the message has if no earlier entry held it.
-- Without `attempts` it has never been in line: its `send_at` lies ahead.

local function run(request, keys)
  local id, status = request.id, keys[1]
  need(DEFERRED, MESSAGES)
  local name, fields = attempted_entry(request, status)
  local answer = settle(name, request.mark, false)
  local deferred = answer == 'gone' and deferred_again(request, status)
  fields = fields or deferred
  if answer ~= 'settled' and not deferred or not fields then return answer end
  -- Other hands may have deferred another message under this id: then this one goes by its entry's.
  if not deferred and redis.call('ZSCORE', DEFERRED, id) then
    id, status = id_after(name), keys[2]
  end
  local kept = without(fields, request.dropped)
  append_all(kept, {'id', id, 'priority', request.priority})
  if request.attempts then append_all(kept, {'attempts', request.attempts}) end
  redis.call('ZADD', DEFERRED, request.due, id)
  redis.call('HSET', MESSAGES, id, cjson.encode(kept))
  record(status, id, 'deferred', request.line, request.detail, append_all(request.look_up, {'due', request.due}))
  return 'settled'
end
