-- audience_remove: let readers see an audience no more; its contacts are removed later.
-- include: audience, damage, full
-- takes: name, version
-- keys: audiences, audiences_unfinished
-- answers: removed | absent
-- changes: audiences, audiences_unfinished
--
-- `version` is the one that its record names, '' where it names none.

local function run(request, keys)
  local audiences, unfinished = unpack(keys)
  need_hash(audiences)
  need_zset(unfinished)
  local current = redis.call('HGET', audiences, request.name)
  if not current or (version_in(current) or '') ~= request.version then return 'absent' end
  allow_writes_while_full()
  redis.call('HDEL', audiences, request.name)
  if request.version ~= '' then redis.call('ZADD', unfinished, 0, request.version) end
  return 'removed'
end
