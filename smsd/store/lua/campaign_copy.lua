-- campaign_copy: copy contacts of an audience, some buckets at a time, to be the recipients of a campaign.
-- include: audience, damage
-- takes: version, batch, at, most, revision, required
-- keys: audiences_unfinished, audience, audience
-- answers: gone | changed | {how many, the hash value to go on from, -1 at the end, how many lack one, a number, a place}
-- changes: audiences_unfinished, audience, contacts
--
-- `required`: places of values, from 1, in which there must be one. `most`: what may be done, in buckets. 'changed' where
-- the audience is not in that `revision` any more. `batch`: see audience_stage.

local OTHER = 8 -- what a bucket costs that is no compact list
local CHECKED = 32 -- contacts whose check costs as much as a bucket
local BETWEEN = '\30' -- contacts
local PART, VALUE = '[^\30\31]*', '[^\30\31]*\31'

-- Patterns that find a contact without a value in this place among those that are joined: it has fewer, or an empty one.
local function patterns_of(place)
  local patterns = {BETWEEN .. string.rep(VALUE, place - 1) .. '[\30\31]'}
  for has = 1, place - 1 do patterns[#patterns + 1] = BETWEEN .. string.rep(VALUE, has - 1) .. PART .. BETWEEN end
  return patterns
end

-- Of each place that is required, what finds contacts that lack it (many at once), and what matches those that have it.
local function checks_of(places)
  local checks = {}
  for i, place in ipairs(places) do
    checks[i] = {lacking = patterns_of(place), having = '^' .. string.rep(VALUE, place - 1) .. '[^\31]'}
  end
  return checks
end

-- Whether all seem to have what is required. (What other hands wrote may seem to lack it.)
local function seem_complete(bucket, checks)
  local joined = BETWEEN .. table.concat(redis.call('HVALS', bucket), BETWEEN) .. BETWEEN
  for _, one in ipairs(checks) do
    for _, pattern in ipairs(one.lacking) do
      if string.find(joined, pattern) then return false end
    end
  end
  return true
end

-- Notes a contact that lacks a value; the place of the first that it lacks.
local function check(number, values, checks, found)
  for place, one in ipairs(checks) do
    if not string.find(values, one.having) then
      if found.missing == 0 then found.number, found.place = number, place end
      found.missing = found.missing + 1
      return
    end
  end
end

local function check_all(bucket, size, checks, found)
  if #checks == 0 then return 0 end
  if seem_complete(bucket, checks) then return size / CHECKED end
  local contacts = redis.call('HGETALL', bucket)
  for i = 1, #contacts, 2 do check(contacts[i], contacts[i + 1], checks, found) end
  return 4 * size / CHECKED
end

-- What it costs, in buckets.
local function copy_bucket(from, to, checks, found)
  need_hash(from)
  local size = redis.call('HLEN', from)
  if size == 0 then return 1 end
  local cost = redis.call('OBJECT', 'ENCODING', from) == 'listpack' and 1 or OTHER
  cost = cost + check_all(from, size, checks, found)
  redis.call('COPY', from, to, 'REPLACE')
  found.many = found.many + size
  return cost
end

local function run(request, keys)
  local unfinished, key, source = unpack(keys)
  if not is_under_way(unfinished, request.version) then return 'gone' end
  local version, base = opened(key), opened(source)
  if not version then return 'gone' end
  if request.batch == version.batch then return redis.call('HMGET', key, 'copied', 'at', 'missing', 'number', 'place') end
  if request.batch ~= version.batch + 1 then return 'gone' end
  if not base or base.revision ~= request.revision or base.buckets ~= version.buckets then return 'changed' end
  local checks, found = checks_of(request.required), {many = 0, missing = 0, number = '', place = 0}
  local at, cost = request.at, 0
  while cost < request.most and at < RANGE do
    local first, span = bounds_of(base, at)
    cost = cost + copy_bucket(bucket_from(base, first), bucket_from(version, first), checks, found)
    at = first + span
  end
  if at >= RANGE then at = -1 end
  redis.call('HSET', key, 'contacts', version.contacts + found.many, 'batch', request.batch, 'copied', found.many,
    'at', at, 'missing', found.missing, 'number', found.number, 'place', found.place)
  redis.call('ZADD', unfinished, NOW, request.version)
  return {found.many, at, found.missing, found.number, found.place}
end
