-- audience_stage: add contacts to a version that no reader sees yet. Of a number that comes twice, the later contact stays.
-- include: audience
-- takes: version, batch, contacts
-- keys: audiences_unfinished, audience
-- answers: gone | {how many are new to it, how many it had}
-- changes: audiences_unfinished, audience, contacts
--
-- `contacts` holds the number of each, without its plus sign, and its values. `batch` counts the calls from 1: one that is
-- repeated, since its reply was lost, is answered as before. 'gone' where the version was removed, or Redis has lost a
-- part of it.

local function run(request, keys)
  local unfinished, key = unpack(keys)
  if not is_under_way(unfinished, request.version) then return 'gone' end
  local version = opened(key)
  if not version then return 'gone' end
  if request.batch == version.batch then return redis.call('HMGET', key, 'new', 'had') end
  if request.batch ~= version.batch + 1 then return 'gone' end
  local contacts, new = request.contacts, 0
  for i = 1, #contacts, 2 do
    new = new + redis.call('HSET', bucket_of(version, contacts[i]), contacts[i], contacts[i + 1])
  end
  local had = #contacts / 2 - new
  version.contacts = version.contacts + new
  split_where_full(version)
  local reply = {'new', new, 'had', had}
  redis.call('HSET', key, 'contacts', version.contacts, 'buckets', version.buckets, 'batch', request.batch, unpack(reply))
  redis.call('ZADD', unfinished, NOW, request.version)
  return {new, had}
end
