-- _counters: how many messages took each way. Written once a group.
local counted = {}
local function count(what) counted[what] = (counted[what] or 0) + 1 end

at_end[#at_end + 1] = function()
  for what, times in pairs(counted) do redis.pcall('HINCRBY', COUNTERS, what, times) end
end
