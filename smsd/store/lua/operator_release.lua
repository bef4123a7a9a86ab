-- operator_release: end the hold; the number of the release also ends what the daemon holds for the provider's sake.
-- Keys: the hold, the number. It is the time, so that whatever other hands left there can be replaced.
local function run(request, keys)
  local held, released = unpack(keys)
  open_the_door()
  if redis.pcall('GET', released) == NOW then return 'released' end -- our own reply was lost
  redis.call('SET', released, NOW)
  redis.call('DEL', held)
  announce_hold('released', '', request.by)
  return 'released'
end
