-- finish: the text is over (sent, suppressed, expired); forget the entry, keep the status for a while.
local name, mark, fact, id, state, line, detail = take(), take(), take() == '1', take(), take(), take(), take()
local fields, why_not = settle(name, mark, fact)
if not fields then
  -- A successor took our attempt for one in doubt; now that the answer is here, its dead letter is void.
  local letter, reason = unpack(redis.call('HMGET', STATUS, 'letter', 'reason'))
  local void = fact and why_not == 'gone' and letter and reason == 'in_doubt' and redis.call('XDEL', DEAD, letter) == 1
  if not void then return why_not end
  redis.call('HDEL', STATUS, 'letter', 'reason', 'code', 'detail')
end
redis.call('HINCRBY', COUNTERS, state, 1)
redis.call('HDEL', STATUS, 'entry', 'due')
tell(STATUS, id, state, line, detail, take_list())
redis.call('PEXPIRE', STATUS, KEEP_STATUS)
return 'settled'
