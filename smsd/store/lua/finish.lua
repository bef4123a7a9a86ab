-- finish: the text is over (sent, suppressed, expired); forget the entry, keep the status for a while.
-- A successor may have taken our attempt for one in doubt; now that the answer is here, its dead letter is void.
local function void_letter(status)
  local letter, reason = unpack(redis.call('HMGET', status, 'letter', 'reason'))
  if not letter or reason ~= 'in_doubt' or redis.call('XDEL', DEAD, letter) == 0 then return false end
  return true
end

local function run(request, keys)
  local status = keys[1]
  local sent = request.state == 'sent'
  local fields, why_not = settle(request.name, request.mark, sent)
  if not fields and not (sent and void_letter(status)) then return why_not end
  redis.call('HINCRBY', COUNTERS, request.state, 1)
  tell(status, request.id, request.state, request.line, '', request.facts)
  redis.call('PEXPIRE', status, KEEP_STATUS)
  return 'settled'
end
