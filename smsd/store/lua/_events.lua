-- _events: let listeners know. The stream of events is trimmed once a group.
local announced = false
local function announce(id, state, detail)
  redis.pcall('XADD', EVENTS, '*', 'id', id, 'state', state, 'detail', detail)
  announced = true
end

at_end[#at_end + 1] = function()
  if announced then redis.pcall('XTRIM', EVENTS, 'MAXLEN', '~', MOST_EVENTS) end
end
