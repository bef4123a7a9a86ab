-- campaign_look: the records of campaigns, and how many messages of each are in flight.
-- include: entries, fields
-- takes: none
-- keys: campaign*
-- answers: {{name, value, ... | why it cannot be read} of each, {campaign, how many in flight, ...}}
-- changes: none
--
-- Of more entries in flight than any daemon has, some are counted.

local MOST = 1000

local function in_flight()
  local many = redis.pcall('HLEN', INFLIGHT)
  if type(many) ~= 'number' then return {} end
  if many <= MOST then return redis.call('HKEYS', INFLIGHT) end
  local names = {}
  for i, value in ipairs(redis.call('HSCAN', INFLIGHT, 0, 'COUNT', MOST)[2]) do
    if i % 2 == 1 then names[#names + 1] = value end
  end
  return names
end

local function counts_of(names)
  local counts = {}
  for _, name in ipairs(names) do
    local id = field_of(entry_of(stream_of(name)) or {}, 'id')
    local campaign = id and string.match(id, '^(c[0-9a-z]+)_%d+$')
    if campaign then counts[campaign] = (counts[campaign] or 0) + 1 end
  end
  return counts
end

local function flat(counts)
  local list = {}
  for campaign, many in pairs(counts) do append_all(list, {campaign, many}) end
  return list
end

-- One look for all that ask at once.
local counted

local function run(_, keys)
  local records = {}
  for i, key in ipairs(keys) do
    local found = redis.pcall('HGETALL', key)
    records[i] = found.err and {found.err} or found
  end
  counted = counted or flat(counts_of(in_flight()))
  return {records, counted}
end
