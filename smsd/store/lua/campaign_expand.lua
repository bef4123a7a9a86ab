-- campaign_expand: put messages of a campaign into the queue, each unless its recipient has one.
-- include: add, campaign, entries, fields, identity, recipients, status
-- takes: campaign, stream, messages
-- keys: status*
-- answers: older | fenced | how many are new
-- changes: queue, high, status, finished, events, campaign, campaigns_active, contacts
--
-- 'older' where newer data was known, 'fenced' while this daemon does not hold the lease. None is new where the campaign
-- does not run. Of each message its id, its fields and how many segments it takes.

local function expand(stream, status, id, fields, segments)
  local campaign, _, _, value = recipient_of(id)
  if not campaign or state_in(value) then return 0 end
  local entry = stream .. add(stream_of(stream), append_all({'id', id}, fields))
  tally(campaign, 'segments_expanded', segments)
  record(status, id, 'queued', NOW .. ' queued', '', {'entry', entry})
  return 1
end

local function run(request, keys)
  if redis.pcall('GET', LEASE) ~= OWNER then return 'fenced' end
  if is_older() then return 'older' end
  local campaign = campaign_named(request.campaign)
  if not campaign or campaign.state ~= 'running' or campaign.ending then return 0 end
  local new = 0
  for i, message in ipairs(request.messages) do
    local id, fields, segments = unpack(message)
    new = new + expand(request.stream, keys[i], id, fields, segments)
  end
  return new
end
