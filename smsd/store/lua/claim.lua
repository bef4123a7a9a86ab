-- claim: hand out entries nobody has read, high priority first.
-- Returns two arrays (high, normal) of {id, fields, octets}.
local most_octets = tonumber(take())

local function read(stream, room)
  local claimed = {}
  if room < 1 then return claimed end
  local reply = redis.call('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', room, 'STREAMS', stream, '>')
  for _, entry in ipairs(reply and reply[1][2] or {}) do
    claimed[#claimed + 1] = clip(entry, most_octets)
  end
  return claimed
end

return {read(HIGH, tonumber(take())), read(QUEUE, tonumber(take()))}
