-- fsck_recipients: count the recipients of a campaign by their states, some buckets at a time.
-- include: audience, fields, recipients
-- takes: at, most
-- keys: campaign, audience
-- answers: gone | {{field, how many, ...}, the hash value to go on from, -1 at the end, {field, what the campaign counts, ...}}
-- changes: none

-- The fields of a record that count recipients, as they are.
local function counts_in(key)
  local found, counts = redis.call('HGETALL', key), {}
  for i = 1, #found, 2 do
    if string.sub(found[i], 1, 2) == 'n:' then append_all(counts, {found[i], found[i + 1]}) end
  end
  return counts
end

local function count_value(value, rest, counts)
  local state = state_in(value)
  local field = 'n:' .. (state or rest)
  counts[field] = (counts[field] or 0) + 1
  if state == 'dead' then
    local dead = 'n:dead:' .. reason_in(value)
    counts[dead] = (counts[dead] or 0) + 1
  end
end

local function run(request, keys)
  local campaign, version = keys[1], opened(keys[2])
  if not version then return 'gone' end
  local rest, counts = redis.call('HGET', campaign, 'rest') or 'unexpanded', {}
  local at, buckets = request.at, 0
  while at < RANGE and buckets < request.most do
    local first, span = bounds_of(version, at)
    local contacts = redis.pcall('HGETALL', bucket_from(version, first))
    for i = 1, #contacts, 2 do
      if is_number(contacts[i]) then count_value(contacts[i + 1], rest, counts) end
    end
    at, buckets = first + span, buckets + 1
  end
  local flat = {}
  for field, many in pairs(counts) do append_all(flat, {field, many}) end
  return {flat, at < RANGE and at or -1, counts_in(campaign)}
end
