-- _audience: the contacts of one version of an audience lie in buckets: small hashes, number to values.
-- include: damage
--
-- Rule: buckets stay small whatever the size is. Each holds the numbers whose hash values lie in one part of a range. With
-- every LOAD contacts that are added the next bucket in turn is split in two (linear hashing), so that no call has much
-- to move. Redis keeps a hash of up to `hash-max-listpack-entries` (128 at least, as delivered) as one compact list, and
-- one of LOAD on average hardly ever gets so large.
--
-- The key of a bucket is that of its version, ':' and the lowest hash value that it may hold. It is not among KEYS: only
-- the version knows which there are. (A cluster's hash tag is in the prefix.)
--
-- The values of a contact are one string, joined by SEPARATOR, in the order of the audience's fields; empty ones at the
-- end are left out.

local LOAD = 32
local MOST_BUCKETS, MOST_SPLITS = 16777216, 16 -- of a version, and in one go
local RANGE, PRIME = 2147483648, 2147483647 -- of hash values
local LOW_DIGITS, LONGEST = 10000000, 15 -- of a number
local MOST_FACTOR, MOST_COUNTED = 67108864, 999999999999
local SEPARATOR = '\31'

local function need_zset(key) need_type(key, 'zset') end

-- What a field of a state holds, if it is a whole number in these bounds: other hands may have written anything.
local function whole_number(value, least, most)
  local number = tonumber(value)
  return number and number >= least and number <= most and number % 1 == 0 and number or nil
end

-- How its buckets divide the range.
local function divided(key, version)
  version.bucket = string.gsub(key, '%%', '%%%%') .. ':%d'
  local whole = 1 -- buckets when the present turn of splits began
  while whole * 2 <= version.buckets do whole = whole * 2 end
  version.span = RANGE / whole -- of a bucket that is not split yet in this turn
  version.split = (version.buckets - whole) * version.span -- below it all buckets are
  return version
end

-- A version by the key of its state; nil if it is not there, or is being removed.
local function opened(key)
  need_hash(key)
  local version, names = {}, {'contacts', 'buckets', 'batch', 'revision', 'high', 'low'}
  local most = {buckets = MOST_BUCKETS, high = MOST_FACTOR, low = MOST_FACTOR}
  local values = redis.call('HMGET', key, unpack(names))
  if not values[1] then return nil end
  for i, name in ipairs(names) do
    version[name] = whole_number(values[i], name == 'buckets' and 1 or 0, most[name] or MOST_COUNTED)
    if not version[name] then refuse(key, 'holds no number in ' .. name) end
  end
  return divided(key, version)
end

-- The hash value of a number, of 15 digits at most. The factors are random, so that nobody can choose numbers that
-- share a bucket; they are below MOST_FACTOR: no product, and no quotient, exceeds what a number of Lua holds exactly.
local function hash_of(version, number)
  local value = tonumber(number)
  local low = value % LOW_DIGITS
  return (version.high * ((value - low) / LOW_DIGITS) + version.low * low) % PRIME
end

-- Other hands may have put anything into a bucket.
local function is_number(name) return #name <= LONGEST and string.find(name, '^%d+$') ~= nil end

-- The bucket that holds a hash value: the lowest that it may hold, and how many from there.
local function bounds_of(version, hash)
  local span = hash < version.split and version.span / 2 or version.span
  return hash - hash % span, span
end

local function bucket_from(version, first) return string.format(version.bucket, first) end

local function bucket_of(version, number)
  return bucket_from(version, (bounds_of(version, hash_of(version, number))))
end

local function split_next(version)
  local first, half = version.split, version.span / 2
  local bucket, middle = bucket_from(version, first), first + half
  local contacts, moved, numbers = redis.pcall('HGETALL', bucket), {}, {}
  for i = 1, #contacts, 2 do
    if is_number(contacts[i]) and hash_of(version, contacts[i]) >= middle then
      moved[#moved + 1], moved[#moved + 2] = contacts[i], contacts[i + 1]
      numbers[#numbers + 1] = contacts[i]
    end
  end
  if #numbers > 0 then
    redis.call('HSET', bucket_from(version, middle), unpack(moved))
    redis.call('HDEL', bucket, unpack(numbers))
  end
  version.buckets, version.split = version.buckets + 1, first + version.span
  if version.split == RANGE then version.split, version.span = 0, half end
end

local function split_where_full(version)
  for _ = 1, MOST_SPLITS do
    if version.contacts <= LOAD * version.buckets or version.buckets == MOST_BUCKETS then return end
    split_next(version)
  end
end

local function parts_of(values)
  local parts = {}
  for part in string.gmatch(values .. SEPARATOR, '([^\31]*)\31') do parts[#parts + 1] = part end
  return parts
end

-- The values that are new, with those that stood before in the places of `kept`.
local function merged(values, before, kept)
  if #kept == 0 then return values end
  local parts, old = parts_of(values), parts_of(before)
  for _, place in ipairs(kept) do
    for i = #parts + 1, place do parts[i] = '' end
    parts[place] = old[place] or ''
  end
  return (string.gsub(table.concat(parts, SEPARATOR), '\31+$', ''))
end

-- Whether an import may go on with a version: it is neither committed nor given up.
local function is_under_way(unfinished, name)
  need_zset(unfinished)
  local touched = redis.call('ZSCORE', unfinished, name)
  return touched and tonumber(touched) > 0
end

-- The version that a record names: a record begins with it (smsd/store/audiences/record.py).
local function version_in(record_text) return string.match(record_text or '', '^{"version":"([%w-]+)"') end

-- Whether readers see a version, by the key of its state.
local function is_seen(audiences, key, name)
  local record_text = redis.pcall('HGET', audiences, redis.pcall('HGET', key, 'name'))
  return type(record_text) == 'string' and version_in(record_text) == name
end

-- Whether readers see a version, or it is that of a campaign, which has its name.
local function is_used(audiences, key, name, campaign)
  return is_seen(audiences, key, name) or redis.call('EXISTS', campaign) == 1
end
