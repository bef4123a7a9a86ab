-- campaign_page: recipients of a campaign in the order of their hash values, from one on.
-- include: audience, damage, pages, recipients
-- takes: at, most, states?
-- keys: campaign, audience
-- answers: gone | {the hash value to go on from, -1 at the end, {number, value, ...}, the state of all without a message or ''}
-- changes: none
--
-- `states`: only those in one of them; `unexpanded` is that of a recipient without a message.

local function run(request, keys)
  local campaign, version = keys[1], opened(keys[2])
  need_hash(campaign)
  if not version then return 'gone' end
  local rest, among = redis.call('HGET', campaign, 'rest') or '', {}
  for _, state in ipairs(request.states or {}) do among[state] = true end
  local without_message = rest == '' and 'unexpanded' or rest
  local function wanted(value) return not request.states or among[state_in(value) or without_message] end
  local at, page = page_from(version, request.at, request.most, wanted)
  return {at, page, rest}
end
