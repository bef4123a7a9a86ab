-- compared: all that a daemon remembers has been written into this data. Data without that token has yet to be compared.
local function run(request)
  open_the_door()
  redis.call('HSET', STORE, 'compared', request.token)
  return 'noted'
end
