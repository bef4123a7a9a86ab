-- campaign_waiting: recipients of a campaign who have no message yet, of one bucket.
-- include: audience, campaign, recipients
-- takes: campaign, most
-- keys: none
-- answers: {the hash value to go on from, -1 at the end, {number, values, ...}}
-- changes: campaign
--
-- Where none is returned and it is not the end, ask again: many buckets may have none left. Those are not read again:
-- nobody goes back to having no message.

local MOST_READ = 64 -- buckets

local function unexpanded_in(bucket, most)
  local found, contacts = {}, redis.pcall('HGETALL', bucket)
  for i = 1, #contacts, 2 do
    if #found < 2 * most and is_number(contacts[i]) and not state_in(contacts[i + 1]) then
      found[#found + 1], found[#found + 2] = contacts[i], contacts[i + 1]
    end
  end
  return found
end

local function run(request)
  local campaign = campaign_named(request.campaign)
  local version = campaign and recipients_of(campaign)
  if not version or campaign.ending then return {-1, {}} end
  local at, found = campaign.at, {}
  for _ = 1, MOST_READ do
    if at >= RANGE then break end
    local first, span = bounds_of(version, at)
    found = unexpanded_in(bucket_from(version, first), request.most)
    if #found > 0 then break end
    at = first + span
  end
  if at ~= campaign.at then redis.pcall('HSET', campaign.key, 'at', at) end
  return {at < RANGE and at or -1, found}
end
