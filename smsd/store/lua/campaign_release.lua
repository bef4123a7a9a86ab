-- campaign_release: messages that were held are due, or end with their campaign.
-- include: campaign, counters, damage, deferred, recipients, status
-- takes: campaign, ids
-- keys: campaign_held, status*
-- answers: how many were released
-- changes: deferred, deferred_messages, status, finished, events, counters, campaign, campaign_held, campaigns_active,
--   contacts

local function release(campaign, id, status)
  local due = redis.call('ZSCORE', DEFERRED, id)
  if not due or tonumber(due) < math.huge then return 0 end
  if campaign.ending then
    forget_deferred(id)
    count(campaign.ending)
    record(status, id, campaign.ending, NOW .. ' ' .. campaign.ending, 'campaign')
    return 1
  end
  redis.call('ZADD', DEFERRED, NOW, id)
  redis.pcall('HSET', status, 'due', NOW)
  move_recipient(id, 'deferred', {})
  return 1
end

local function run(request, keys)
  local campaign = campaign_named(request.campaign)
  need(DEFERRED, MESSAGES)
  if not campaign or campaign.state == 'paused' and not campaign.ending then return 0 end
  local released = 0
  for i, id in ipairs(request.ids) do
    released = released + release(campaign, id, keys[i + 1])
    redis.pcall('SREM', keys[1], id)
  end
  return released
end
