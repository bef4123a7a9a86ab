-- finish: the text is over (sent, suppressed, expired); forget the entry, keep the status for a while.
-- A successor may have taken our attempt for one in doubt; now that the answer is here, its dead letter is void.
local function void_letter(status)
  local letter, reason = unpack(redis.call('HMGET', status, 'letter', 'reason'))
  return letter and reason == 'in_doubt' and redis.call('XDEL', DEAD, letter) == 1
end

local function run(request, keys)
  local status = keys[1]
  local sent = request.state == 'sent'
  local how = settle(request.name, request.mark, sent)
  if how ~= 'settled' and not (sent and void_letter(status)) then return how end
  count(request.state)
  tell(status, request.id, request.state, request.line, '', request.facts)
  redis.call('PEXPIRE', status, KEEP_STATUS)
  return 'settled'
end
