-- bury: out of the stream, into the dead letters, with the reason; optionally suppress the recipient.
local name, mark, id, line = take(), take(), take(), take()
local reason, code, detail, attempts, suppressed = take(), take(), take(), take(), take()
local fields, why_not = settle(name, mark, false)
if not fields then return why_not end
local ours = {
  'id', id, 'reason', reason, 'code', code, 'detail', detail, 'attempts', attempts, 'failed_at', NOW,
  'lane', string.sub(name, 1, 1),
}
local taken = {}
for i = 1, #ours, 2 do taken[ours[i]] = true end
local letter = redis.call('XADD', DEAD, '*', unpack(append_all(without(fields, taken), ours)))
redis.call('HINCRBY', COUNTERS, 'buried', 1)
if suppressed ~= '' then redis.call('SADD', OPTOUTS, suppressed) end
redis.call('HDEL', STATUS, 'entry', 'due')
local why = {'letter', letter, 'reason', reason, 'code', code, 'detail', detail, 'attempts', attempts}
tell(STATUS, id, 'dead', line, reason, append_all(take_list(), why))
return 'settled'
