-- campaign_unsettled: recipients of a campaign whose messages are in some states, a few buckets at a time.
-- include: audience, campaign, recipients
-- takes: campaign, states, at, most
-- keys: none
-- answers: {the hash value to go on from, -1 at the end, {number, ...}}
-- changes: none
--
-- `most`: buckets.

local function run(request)
  local campaign = campaign_named(request.campaign)
  local version = campaign and recipients_of(campaign)
  if not version then return {-1, {}} end
  local at, found, among = request.at, {}, {}
  for _, state in ipairs(request.states) do among[state] = true end
  for _ = 1, request.most do
    if at >= RANGE then break end
    local first, span = bounds_of(version, at)
    local contacts = redis.pcall('HGETALL', bucket_from(version, first))
    for i = 1, #contacts, 2 do
      if is_number(contacts[i]) and among[state_in(contacts[i + 1])] then found[#found + 1] = contacts[i] end
    end
    at = first + span
  end
  return {at < RANGE and at or -1, found}
end
