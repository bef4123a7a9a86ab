-- yield: give the lease up, so that a standby takes over at once.
-- takes: none
-- keys: hold
-- answers: yielded
-- changes: lease, hold
--
-- `hold` is why this daemon held dispatch.

local function run(_, keys)
  if redis.pcall('GET', LEASE) == OWNER then redis.call('DEL', LEASE, keys[1]) end
  return 'yielded'
end
