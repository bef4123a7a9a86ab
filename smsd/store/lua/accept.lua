-- accept: go on with this data, though other or newer data was known.
-- Numbers go on from the highest that was given, and a daemon that knows only the former id accepts this one, too.
local function run(request)
  local id, _, settled = unpack(identity())
  open_the_door()
  redis.call('HSET', STORE, 'settled', math.max(settled, request.settled))
  if id ~= request.id then redis.call('HSET', STORE, 'replaces', request.id) end
  return 'accepted'
end
