-- campaign_copy: copy contacts of an audience, some buckets at a time, to be the recipients of a campaign.
-- include: audience, damage
-- takes: version, batch, at, most, revision, required
-- keys: audiences_unfinished, audience, audience
-- answers: gone | changed | {how many, the hash value to go on from, -1 at the end, how many lack one, a number, a place}
-- changes: audiences_unfinished, audience, contacts
--
-- `required`: places of values, from 1 and in their order, in which there must be one; an answer's place is one of these.
-- `most`: what may be done, in buckets. 'changed' where the audience is not in that `revision` any more. `batch`: see
-- audience_stage.

local OTHER, OCTETS = 8, 10000 -- what a bucket costs that is no compact list; and for each so many of its octets one more
local CHECKED, STEPPED = 16, 64 -- contacts that are looked at, and values that are passed over, for the cost of a bucket
local NOTHING = string.byte(SEPARATOR)

-- The first place that lacks a value, among those that are required. (A pattern would take seconds for many fields.)
local function lacking(values, required)
  local at, place = 1, 1
  for i, wanted in ipairs(required) do
    while place < wanted do
      local stop = string.find(values, SEPARATOR, at, true)
      if not stop then return i end
      at, place = stop + 1, place + 1
    end
    local octet = string.byte(values, at)
    if not octet or octet == NOTHING then return i end
  end
end

local function check(bucket, required, found)
  local contacts = redis.call('HGETALL', bucket)
  for i = 1, #contacts, 2 do
    local place = lacking(contacts[i + 1], required)
    if place then
      if found.missing == 0 then found.number, found.place = contacts[i], place end
      found.missing = found.missing + 1
    end
  end
end

-- What it costs to copy a bucket and to check its contacts, in buckets.
local function cost_of(bucket, size, required)
  local cost, last = 1, required[#required]
  if redis.call('OBJECT', 'ENCODING', bucket) ~= 'listpack' then
    cost = OTHER + redis.call('MEMORY', 'USAGE', bucket) / OCTETS
  end
  return last and cost + size / CHECKED + size * last / STEPPED or cost
end

local function copy_bucket(from, to, required, found)
  need_hash(from)
  local size = redis.call('HLEN', from)
  if size == 0 then return 1 end
  if #required > 0 then check(from, required, found) end
  redis.call('COPY', from, to, 'REPLACE')
  found.many = found.many + size
  return cost_of(from, size, required)
end

local function run(request, keys)
  local unfinished, key, source = unpack(keys)
  if not is_under_way(unfinished, request.version) then return 'gone' end
  local version, base = opened(key), opened(source)
  if not version then return 'gone' end
  if request.batch == version.batch then return redis.call('HMGET', key, 'copied', 'at', 'missing', 'number', 'place') end
  if request.batch ~= version.batch + 1 then return 'gone' end
  if not base or base.revision ~= request.revision or base.buckets ~= version.buckets then return 'changed' end
  local found, at, cost = {many = 0, missing = 0, number = '', place = 0}, request.at, 0
  while cost < request.most and at < RANGE do
    local first, span = bounds_of(base, at)
    cost = cost + copy_bucket(bucket_from(base, first), bucket_from(version, first), request.required, found)
    at = first + span
  end
  if at >= RANGE then at = -1 end
  redis.call('HSET', key, 'contacts', version.contacts + found.many, 'batch', request.batch, 'copied', found.many,
    'at', at, 'missing', found.missing, 'number', found.number, 'place', found.place)
  redis.call('ZADD', unfinished, NOW, request.version)
  return {found.many, at, found.missing, found.number, found.place}
end
