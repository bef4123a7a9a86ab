-- campaign_look: the records of campaigns, and how many messages of each are in flight.
-- include: entries, fields
-- takes: in_flight
-- keys: campaign*
-- answers: {{name, value, ... | why it cannot be read} of each, {campaign, how many in flight, ...}}
-- changes: none
--
-- Without `in_flight`, which costs most, none are counted. Of very many entries in flight some are looked at, and there
-- are as many in proportion.

local MOST = 300

-- Entries in flight, and for how many each stands.
local function in_flight()
  local many = redis.pcall('HLEN', INFLIGHT)
  if type(many) ~= 'number' then return {}, 1 end
  if many <= MOST then return redis.call('HKEYS', INFLIGHT), 1 end
  local names = {}
  for i, value in ipairs(redis.call('HSCAN', INFLIGHT, 0, 'COUNT', MOST)[2]) do
    if i % 2 == 1 then names[#names + 1] = value end
  end
  return names, many / math.max(1, #names)
end

local function counts_of(names, each)
  local counts = {}
  for _, name in ipairs(names) do
    local id = field_of(entry_of(stream_of(name)) or {}, 'id')
    local campaign = id and string.match(id, '^(c[0-9a-z]+)_%d+$')
    if campaign then counts[campaign] = (counts[campaign] or 0) + each end
  end
  return counts
end

local function flat(counts)
  local list = {}
  for campaign, many in pairs(counts) do append_all(list, {campaign, math.floor(many + 0.5)}) end
  return list
end

-- One look for all that ask at once.
local counted

local function run(request, keys)
  local records = {}
  for i, key in ipairs(keys) do
    local found = redis.pcall('HGETALL', key)
    records[i] = found.err and {found.err} or found
  end
  if request.in_flight then counted = counted or flat(counts_of(in_flight())) end
  return {records, request.in_flight and counted or {}}
end
