-- _lease: whether another daemon holds the lease. (An expired one is nobody's; what is no string is dealt with at the
-- next renewal, and fences until then.)
local function is_fenced()
  local holder = redis.pcall('GET', LEASE)
  return holder and holder ~= OWNER
end
