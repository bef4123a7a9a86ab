-- campaign_tidy: bring a campaign's state up to its counts, and see what is left to do.
-- include: campaign, recipients, rest
-- takes: campaign
-- keys: campaign_held
-- answers: gone | {'' | cancelled | expired, how many are held, how many are in line or deferred, how many are listed as held}
-- changes: campaign, campaigns_active
--
-- The first of an answer is how it ended before its time; recipients without a message are then in that state at once.

local COUNTED = {'unexpanded', 'queued', 'held', 'deferred', 'dead'}

local function counts_of(campaign)
  local names, counts = {}, {}
  for i, state in ipairs(COUNTED) do names[i] = 'n:' .. state end
  local found = redis.call('HMGET', campaign.key, unpack(names))
  for i, state in ipairs(COUNTED) do counts[state] = tonumber(found[i]) or 0 end
  return counts
end

local function state_by(counts, unsettled)
  if unsettled > 0 then return 'running' end
  return counts.dead > 0 and 'needs_attention' or 'finished'
end

-- It is cancelled for good, and goes on being paused while something waits.
local function bring_up(campaign, counts, unsettled)
  local state = state_by(counts, unsettled)
  if campaign.state == 'cancelled' or campaign.state == state then return end
  if campaign.state == 'paused' and unsettled > 0 then return end
  redis.call('HSET', campaign.key, 'state', state, 'by', 'smsd', 'reason', '', 'since', NOW)
end

local function run(request, keys)
  local campaign = campaign_named(request.campaign)
  if not campaign then
    redis.pcall('SREM', ACTIVE, request.campaign)
    return 'gone'
  end
  if campaign.ending then settle_rest(campaign.key, campaign.ending) end
  local counts = counts_of(campaign)
  local unsettled = counts.unexpanded + counts.queued + counts.held + counts.deferred
  bring_up(campaign, counts, unsettled)
  if unsettled == 0 then redis.pcall('SREM', ACTIVE, campaign.name) end
  local held = redis.pcall('SCARD', keys[1])
  return {campaign.ending or '', counts.held, counts.queued + counts.deferred, type(held) == 'number' and held or 0}
end
