-- fsck_campaigns: campaigns that are missing where they should be listed, and those whose recipients are gone.
-- include: verbs
-- takes: ids, repair
-- keys: campaigns, campaign_names, campaigns_active, any*
-- answers: {{id, 'unlisted' | 'gone'}, ...}
-- changes: campaign, campaigns, campaign_names, campaigns_active
--
-- Of each campaign its record and the state of its recipients. Repaired: it is listed; where recipients are gone, those
-- that were not settled are lost, and it is cancelled.

local OPEN = {'unexpanded', 'queued', 'held', 'deferred'}

-- What lists it, if that can be written: whatever else stands there is named by fsck_keys.
local function list(shared, id, kept, repair)
  local campaigns, names, active = unpack(shared)
  local missing = {}
  local readable, asked = pcall(cjson.decode, kept.request)
  local name = readable and type(asked) == 'table' and asked.name
  if redis.pcall('ZSCORE', campaigns, id) == false then missing[1] = {'ZADD', campaigns, 0, id} end
  if type(name) == 'string' and redis.pcall('HGET', names, name) == false then
    missing[#missing + 1] = {'HSET', names, name, id}
  end
  if kept.works and redis.pcall('SISMEMBER', active, id) == 0 then missing[#missing + 1] = {'SADD', active, id} end
  for _, command in ipairs(repair and missing or {}) do redis.call(unpack(command)) end
  return #missing > 0
end

local function lose(campaign, kept)
  local many = 0
  for _, state in ipairs(OPEN) do
    many = many + count_in(campaign, {state})
    redis.call('HSET', campaign, 'n:' .. state, 0)
  end
  redis.call('HINCRBY', campaign, 'n:lost', many)
  redis.call('HSET', campaign, 'gone', 1)
  if kept.goes_on then
    redis.call('HSET', campaign, 'state', 'cancelled', 'reason', 'its recipients are gone', 'by', 'smsd fsck', 'since', NOW)
  end
end

local function run(request, keys)
  local faults = {}
  for i, id in ipairs(request.ids) do
    local campaign, recipients = unpack(keys, 2 * i + 2, 2 * i + 3)
    local state, asked, gone = unpack(redis.pcall('HMGET', campaign, 'state', 'request', 'gone'))
    if state then
      local goes_on = is_among(state, {'running', 'paused'})
      local kept = {request = asked, goes_on = goes_on, works = goes_on or count_in(campaign, OPEN) > 0}
      if list(keys, id, kept, request.repair) then faults[#faults + 1] = {id, 'unlisted'} end
      if not gone and redis.pcall('HEXISTS', recipients, 'contacts') == 0 then
        faults[#faults + 1] = {id, 'gone'}
        if request.repair then lose(campaign, kept) end
      end
    end
  end
  return faults
end
