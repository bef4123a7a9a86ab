-- audience_begin: begin a version of an audience, which no reader sees yet.
-- include: audience, damage
-- takes: name, version, high, low, expected
-- keys: audiences_unfinished, audience
-- answers: begun
-- changes: audiences_unfinished, audience
--
-- `high` and `low` are the factors of its hash values. It has room for the `expected` contacts.

local function run(request, keys)
  local unfinished, key = unpack(keys)
  need_zset(unfinished)
  need_hash(key)
  if redis.call('EXISTS', key) == 1 then return 'begun' end
  redis.call('ZADD', unfinished, NOW, request.version)
  redis.call('HSET', key, 'name', request.name, 'contacts', 0, 'buckets', buckets_for(request.expected), 'batch', 0,
    'revision', 0, 'high', request.high, 'low', request.low)
  return 'begun'
end
