-- replay: a dead letter goes back into the queue as it came, with its attempts forgotten.
local letter = take()
local fields = entry_of(DEAD, letter)
if not fields then return 'gone' end
local id, lane = field_of(fields, 'id'), field_of(fields, 'lane')
local kept = without(fields, {
  id = true, reason = true, code = true, detail = true, attempts = true, failed_at = true, lane = true,
})
redis.call('XDEL', DEAD, letter)
local name = lane .. redis.call('XADD', lane == 'h' and HIGH or QUEUE, '*', unpack(append_all(kept, {'id', id})))
redis.call('HINCRBY', COUNTERS, 'replayed', 1)
redis.call('HDEL', STATUS, 'letter', 'reason', 'code', 'detail')
tell(STATUS, id, 'queued', NOW .. ' queued replayed', 'replayed', {'entry', name, 'attempts', 0})
return 'done'
