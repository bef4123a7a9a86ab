-- _events: let listeners know. The stream of events is trimmed once a group.
local announced = false
local function announce(id, state, detail)
  redis.pcall('XADD', EVENTS, '*', 'id', id, 'state', state, 'detail', detail)
  announced = true
end

-- Let listeners know what somebody did, and why. It is done by then, whatever stands where events should be.
local function announce_act(id, state, detail, by)
  local added = redis.pcall('XADD', EVENTS, '*', 'id', id, 'state', state, 'detail', detail, 'by', by)
  announced = announced or type(added) == 'string'
end

at_end[#at_end + 1] = function()
  if announced then redis.pcall('XTRIM', EVENTS, 'MAXLEN', '~', MOST_EVENTS) end
end
