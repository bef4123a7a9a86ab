-- compared: all that a daemon remembers has been written into this data. Data without that token is yet to be compared.
-- include: full
-- takes: token
-- keys: none
-- answers: noted
-- changes: store

local function run(request)
  allow_writes_while_full()
  redis.call('HSET', STORE, 'compared', request.token)
  return 'noted'
end
