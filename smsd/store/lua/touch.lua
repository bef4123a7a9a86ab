-- touch: write what nobody reads, also while Redis is full: the replicas are to acknowledge it.
-- include: full
-- takes: life_ms
-- keys: ack
-- answers: touched
-- changes: ack

local function run(request, keys)
  local ack = keys[1]
  allow_writes_while_full()
  redis.call('SET', ack, '', 'PX', request.life_ms)
  return 'touched'
end
