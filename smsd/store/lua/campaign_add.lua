-- campaign_add: add numbers without values to the recipients of a campaign that is being started.
-- include: audience
-- takes: version, batch, numbers
-- keys: audiences_unfinished, audience
-- answers: gone | {how many are new to it, the first of these}
-- changes: audiences_unfinished, audience, contacts
--
-- Numbers come without their plus sign. `batch`: see audience_stage.

local function run(request, keys)
  local unfinished, key = unpack(keys)
  if not is_under_way(unfinished, request.version) then return 'gone' end
  local version = opened(key)
  if not version then return 'gone' end
  if request.batch == version.batch then return redis.call('HMGET', key, 'new', 'number') end
  if request.batch ~= version.batch + 1 then return 'gone' end
  local new, number = 0, ''
  for _, one in ipairs(request.numbers) do
    if redis.call('HSETNX', bucket_of(version, one), one, '') == 1 then
      if new == 0 then number = one end
      new = new + 1
    end
  end
  version.contacts = version.contacts + new
  split_where_full(version)
  redis.call('HSET', key, 'contacts', version.contacts, 'buckets', version.buckets, 'batch', request.batch,
    'new', new, 'number', number)
  redis.call('ZADD', unfinished, NOW, request.version)
  return {new, number}
end
