-- acquire: take or renew the lease, unless another daemon holds it; returns its holder.
-- `dead` names a holder that is known to have died: its lease need not run out first.
local function run(request)
  local holder = redis.call('GET', LEASE)
  if holder and holder ~= OWNER and holder ~= request.dead then return holder end
  open_the_door()
  redis.call('SET', LEASE, OWNER, 'PX', request.life_ms)
  return OWNER
end
