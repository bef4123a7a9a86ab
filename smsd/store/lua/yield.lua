-- yield: give the lease up, so that a standby takes over at once. Keys: what is told of a hold.
local function run(_, keys)
  if redis.pcall('GET', LEASE) == OWNER then redis.call('DEL', LEASE, keys[1]) end
  return 'yielded'
end
