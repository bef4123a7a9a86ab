-- yield: give the lease up, so that a standby takes over at once.
local function run()
  if redis.call('GET', LEASE) == OWNER then redis.call('DEL', LEASE) end
  return 'yielded'
end
