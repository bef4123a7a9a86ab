-- finish: the text is over (sent, suppressed, expired); forget the entry, keep the status for a while.
-- A successor may have taken our attempt for one in doubt; now that the answer is here, its dead letter is void.
local function void_letter(status)
  local letter, reason = unpack(redis.pcall('HMGET', status, 'letter', 'reason'))
  return letter and reason == 'in_doubt' and redis.pcall('XDEL', DEAD, letter) == 1
end

-- So is what waits to be sent again: a successor deferred it, or the server lost that it was promoted since.
-- (Where history knows that it was sent, another text has its id.)
local function void_deferred(id, status, line)
  local state, history = unpack(redis.pcall('HMGET', status, 'state', 'history'))
  if state ~= 'deferred' or string.find(history or '', line, 1, true) then return false end
  redis.pcall('HDEL', MESSAGES, id)
  return redis.pcall('ZREM', DEFERRED, id) == 1
end

local function run(request, keys)
  local status = keys[1]
  local sent = request.state == 'sent'
  local how = settle(request.name, request.mark, sent)
  local function voids() return void_letter(status) or void_deferred(request.id, status, request.line) end
  if how ~= 'settled' and not (sent and voids()) then return how end
  count(request.state)
  tell(status, request.id, request.state, request.line, '', request.facts)
  redis.call('PEXPIRE', status, KEEP_STATUS)
  return 'settled'
end
