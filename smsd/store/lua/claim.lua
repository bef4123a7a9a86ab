-- claim: hand out entries nobody has read, high priority first.
local function read(lane, stream, request, room)
  local claimed = {}
  if room < 1 then return claimed end
  local reply = redis.call('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', room, 'STREAMS', stream, '>')
  for _, entry in ipairs(reply and reply[1][2] or {}) do
    claimed[#claimed + 1] = clip(lane, entry, request.most_octets)
  end
  return claimed
end

local function run(request)
  -- Is the second group there? An error after the first lane was claimed would leave its entries to recovery.
  if request.normal_room > 0 then redis.call('XPENDING', QUEUE, GROUP) end
  return append_all(read('h', HIGH, request, request.high_room), read('n', QUEUE, request, request.normal_room))
end
