-- acquire: take or renew the lease, unless another daemon holds it.
-- Returns {holder, number of the last release, reason, by, since}; the last three only while an operator holds dispatch.
-- `dead` names a holder that is known to have died: its lease need not run out first.
-- Keys: where the holder tells why it holds dispatch, if it does (`hold`, for `held_s` seconds by now), the operator's
-- hold, the number of the last release.
local function tell_hold(request, hold)
  redis.call('DEL', hold) -- also what a predecessor or other hands left there
  if not request.hold then return end
  redis.call('HSET', hold, 'by', OWNER, 'reason', request.hold, 'seconds', request.held_s)
  redis.call('PEXPIRE', hold, request.life_ms)
end

-- Whatever stands at the key of the hold holds: nobody is to send because it cannot be read.
local function operator(held, released)
  local number = redis.pcall('GET', released)
  local answer = {type(number) == 'string' and number or ''}
  if redis.call('EXISTS', held) == 0 then return answer end
  local found = redis.pcall('HMGET', held, 'reason', 'by', 'since')
  if found.err then found = {'the key ' .. held .. ' is no hash'} end
  for i = 1, 3 do answer[i + 1] = found[i] or '' end
  return answer
end

local function take(request, keys)
  local holder = redis.call('GET', LEASE)
  if holder and holder ~= OWNER and holder ~= request.dead then return holder end
  open_the_door()
  redis.call('SET', LEASE, OWNER, 'PX', request.life_ms)
  tell_hold(request, keys[1])
  return OWNER
end

local function run(request, keys)
  return append_all({take(request, keys)}, operator(keys[2], keys[3]))
end
