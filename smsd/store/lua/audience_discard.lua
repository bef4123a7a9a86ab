-- audience_discard: take one contact out of an audience.
-- include: audience, damage
-- takes: name, version, revision, number
-- keys: audiences, audience
-- answers: changed | absent | discarded
-- changes: audience, contacts
--
-- 'changed' where readers do not see that version any more, or not in that revision.

local function is_current(audiences, version, request)
  local current = redis.call('HGET', audiences, request.name)
  return version and version.revision == request.revision and version_in(current) == request.version
end

local function run(request, keys)
  local audiences, key = unpack(keys)
  need_hash(audiences)
  local version = opened(key)
  if not is_current(audiences, version, request) then return 'changed' end
  if redis.call('HDEL', bucket_of(version, request.number), request.number) == 0 then return 'absent' end
  redis.call('HSET', key, 'contacts', math.max(0, version.contacts - 1), 'revision', version.revision + 1)
  return 'discarded'
end
