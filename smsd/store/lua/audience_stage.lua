-- audience_stage: add contacts to a version that no reader sees yet. Of a number that comes twice, the later contact stays.
-- include: audience
-- takes: version, batch, contacts
-- keys: audiences_unfinished, audience
-- answers: gone | {how many are new to it, how many it had}
-- changes: audiences_unfinished, audience, contacts
--
-- `batch` counts the calls from 1. One that is repeated, since its reply was lost, is answered as before. 'gone' where
-- the version was removed, or Redis has lost a part of it.

local function run(request, keys)
  local unfinished, key = unpack(keys)
  if not is_under_way(unfinished, request.version) then return 'gone' end
  local version = opened(key)
  if not version then return 'gone' end
  if request.batch == version.batch then return redis.call('HMGET', key, 'added', 'again') end
  if request.batch ~= version.batch + 1 then return 'gone' end
  local new = 0
  for _, packed in ipairs(request.contacts) do
    local number, values = parted(packed)
    new = new + redis.call('HSET', bucket_of(version, number), number, values)
  end
  version.contacts = version.contacts + new
  split_where_full(version)
  local reply = {'added', new, 'again', #request.contacts - new}
  redis.call('HSET', key, 'contacts', version.contacts, 'buckets', version.buckets, 'batch', request.batch, unpack(reply))
  redis.call('ZADD', unfinished, NOW, request.version)
  return {new, #request.contacts - new}
end
