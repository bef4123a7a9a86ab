-- audience_begin: begin a version of an audience, which no reader sees yet.
-- include: audience, damage
-- takes: name, version, high, low, buckets
-- keys: audiences_unfinished, audience
-- answers: begun
-- changes: audiences_unfinished, audience
--
-- `high` and `low` are the factors of its hash values. It begins with `buckets` of them: as many as those that are to be
-- brought in.

local function run(request, keys)
  local unfinished, key = unpack(keys)
  need_zset(unfinished)
  need_hash(key)
  if redis.call('EXISTS', key) == 1 then return 'begun' end
  redis.call('ZADD', unfinished, NOW, request.version)
  redis.call('HSET', key, 'name', request.name, 'contacts', 0, 'buckets', request.buckets, 'batch', 0,
    'revision', 0, 'high', request.high, 'low', request.low)
  return 'begun'
end
