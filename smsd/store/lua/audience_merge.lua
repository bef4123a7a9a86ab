-- audience_merge: bring contacts of an audience, a step of them, into a version that is to replace it.
-- include: audience
-- takes: version, batch, at, most, kept
-- keys: audiences_unfinished, audience, audience
-- answers: gone | changed | {how many of them changed, how many it had the same, the hash value to go on from, -1 at the end}
-- changes: audiences_unfinished, audience, contacts
--
-- A contact that the version has already stays, but for its values in the places of `kept`, which an import did not
-- give. `batch`: see audience_stage.

local OCTETS = 200 -- that cost as much as another contact

local function merge_contact(version, number, before, kept, reply)
  local target = bucket_of(version, number)
  if redis.call('HSETNX', target, number, before) == 1 then
    version.contacts = version.contacts + 1
    return
  end
  local values = redis.call('HGET', target, number)
  local after = merged(values, before, kept)
  if after ~= values then redis.call('HSET', target, number, after) end
  if after == before then reply.same = reply.same + 1 else reply.changed = reply.changed + 1 end
end

local function merge_bucket(version, bucket, kept, reply)
  local contacts, effort = redis.call('HGETALL', bucket), 1
  for i = 1, #contacts, 2 do
    if is_number(contacts[i]) then merge_contact(version, contacts[i], contacts[i + 1], kept, reply) end
    effort = effort + 1 + #contacts[i + 1] / OCTETS
  end
  return effort
end

local function run(request, keys)
  local unfinished, key, source = unpack(keys)
  if not is_under_way(unfinished, request.version) then return 'gone' end
  local version, base = opened(key), opened(source)
  if not version then return 'gone' end
  if request.batch == version.batch then return redis.call('HMGET', key, 'changed', 'same', 'at') end
  if request.batch ~= version.batch + 1 then return 'gone' end
  if not base then return 'changed' end -- it was replaced or removed, and is gone by now
  local reply, seen, at = {changed = 0, same = 0}, 0, request.at
  while seen < request.most and at < RANGE do
    local first, span = bounds_of(base, at)
    seen = seen + merge_bucket(version, bucket_from(base, first), request.kept, reply)
    at = first + span
    split_where_full(version)
  end
  if at >= RANGE then at = -1 end
  redis.call('HSET', key, 'contacts', version.contacts, 'buckets', version.buckets, 'batch', request.batch,
    'changed', reply.changed, 'same', reply.same, 'at', at)
  redis.call('ZADD', unfinished, NOW, request.version)
  return {reply.changed, reply.same, at}
end
