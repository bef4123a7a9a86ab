-- acquire: take or renew the lease, unless another daemon holds it; returns its holder.
-- `dead` names a holder that is known to have died: its lease need not run out first.
-- Keys: where the holder tells why it holds dispatch, if it does (`hold`, for `held_s` seconds by now).
local function tell_hold(request, hold)
  redis.call('DEL', hold) -- also what a predecessor or other hands left there
  if not request.hold then return end
  redis.call('HSET', hold, 'by', OWNER, 'reason', request.hold, 'seconds', request.held_s)
  redis.call('PEXPIRE', hold, request.life_ms)
end

local function run(request, keys)
  local holder = redis.call('GET', LEASE)
  if holder and holder ~= OWNER and holder ~= request.dead then return holder end
  open_the_door()
  redis.call('SET', LEASE, OWNER, 'PX', request.life_ms)
  tell_hold(request, keys[1])
  return OWNER
end
