-- operator_hold: dispatch stays held until it is released, through every restart. Key: the hold.
-- The reason of one that stands already is kept beside the new one: a release has to answer both.
local MOST_REASONS = 1000 -- octets

local function joined(standing, reason)
  if not standing or #standing + #reason > MOST_REASONS then return reason end
  return standing .. '; ' .. reason
end

local function run(request, keys)
  local held = keys[1]
  open_the_door()
  if redis.call('TYPE', held).ok ~= 'hash' then redis.call('DEL', held) end
  local standing, since = unpack(redis.call('HMGET', held, 'reason', 'since'))
  if standing and string.find(standing, request.reason, 1, true) then return 'held' end
  redis.call('HSET', held, 'reason', joined(standing, request.reason), 'by', request.by, 'since', since or NOW)
  announce_hold('held', request.reason, request.by)
  return 'held'
end
