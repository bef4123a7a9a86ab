-- _recipients: each change of a message of a campaign moves its recipient's state and the campaign's counts.
-- include: audience, campaign, fields, hex
--
-- Rule: this is the one place that moves them; it looks at what the recipient's state is, and so they stay true whatever
-- is repeated. Like a status, they never refuse a transition.
--
-- A campaign's recipients lie as a version of an audience does. The value of one is first that of the contact, which holds
-- no control character, and begins with one as soon as there is a message: its state, with the time and what else is
-- needed of it (smsd/store/campaigns/results.py reads it).

local ACTIVE = PREFIX .. 'campaigns:active'
local CODES = {
  queued = 1, held = 2, deferred = 3, dead = 4, sent = 5, expired = 6, suppressed = 7, cancelled = 8, dropped = 9, lost = 10,
}
local SENT_HEX, SENT_SM, SENT_PREFIXED = 11, 12, 13 -- sent, and the provider's id is packed
local LATE = 16 -- added to a code: the time takes four octets, not three
local UNSETTLED = {unexpanded = true, queued = true, held = true, deferred = true, dead = true}
local SHORTEST_HEX = 16

local STATES = { -- by code
  'queued', 'held', 'deferred', 'dead', 'sent', 'expired', 'suppressed', 'cancelled', 'dropped', 'lost', 'sent', 'sent', 'sent',
}

-- The buckets with its recipients, or nil.
local function recipients_of(campaign)
  if campaign.version == nil then
    local readable, version = pcall(opened, PREFIX .. 'audience:' .. campaign.name)
    campaign.version = readable and version or false
  end
  return campaign.version or nil
end

-- The number for which the digits of an id stand: `number_of` of smsd/core/campaign.py.
local MIX_PRIME, LOW_PART, HIGH_PART = 67108859, 100000000, 10000000
local function mixed(half, factor)
  local product = (half + 1) * factor % MIX_PRIME
  return product * product % MIX_PRIME
end
local function unscrambled(factors, digits)
  local value = tonumber(digits)
  local low = value % LOW_PART
  local high = (value - low) / LOW_PART
  for round = 1, 2 do
    high = (high - mixed(low, factors[round])) % HIGH_PART
    low = (low - mixed(high, factors[3 - round])) % LOW_PART
  end
  return string.format('%.0f', high * LOW_PART + low)
end

-- Campaign, number, bucket and value of the recipient that a message's id stands for; nil if it is of no campaign.
local function recipient_of(id)
  local name, digits = string.match(id, '^(c[0-9a-z]+)_(%d+)$')
  local campaign = name and #digits <= LONGEST and campaign_named(name)
  local version = campaign and recipients_of(campaign)
  if not version then return nil end
  local number = unscrambled(campaign.factors, digits)
  local bucket = bucket_of(version, number)
  local value = redis.pcall('HGET', bucket, number)
  if type(value) == 'string' then return campaign, number, bucket, value end
end

-- The state in a value; nil while there is no message.
local function state_in(value)
  local code = string.byte(value) or 0
  return STATES[code > LATE and code - LATE or code]
end

local function reason_in(value)
  local skipped = string.byte(value) > LATE and 5 or 4
  return string.match(value, '^%S+', skipped + 1) or ''
end

local function tally(campaign, field, by) campaign.moved[field] = (campaign.moved[field] or 0) + by end

-- Code and octets of a provider's id: hexadecimal digits take half as many, and SM before them (Twilio's) none.
local function packed_id(id)
  local initials, hex = '', string.match(id, '^[0-9a-f]+$')
  if not hex then initials, hex = string.match(id, '^(%a%a)([0-9a-f]+)$') end
  if not hex or #hex < SHORTEST_HEX or #hex % 2 == 1 then return CODES.sent, id end
  if initials == 'SM' then return SENT_SM, octets_of(hex) end
  return initials == '' and SENT_HEX or SENT_PREFIXED, initials .. octets_of(hex)
end

-- Seconds since the campaign was made, as octets.
local function packed_time(campaign)
  local seconds = math.floor(math.max(0, tonumber(NOW) - campaign.created) / 1000)
  local octets = ''
  for _ = 1, seconds < 16777216 and 3 or 4 do
    octets = string.char(seconds % 256) .. octets
    seconds = math.floor(seconds / 256)
  end
  return octets
end

local function packed_result(campaign, state, fields)
  local code, rest = CODES[state], ''
  if state == 'sent' then
    code, rest = packed_id(field_of(fields, 'provider_id') or '')
  elseif state == 'dead' then
    rest = (field_of(fields, 'reason') or '') .. ' ' .. (field_of(fields, 'code') or '')
  end
  local octets = packed_time(campaign)
  return string.char(#octets > 3 and code + LATE or code) .. octets .. rest
end

local function count_move(campaign, value, state, fields)
  local before = state_in(value) or campaign.rest
  tally(campaign, 'n:' .. before, -1)
  tally(campaign, 'n:' .. state, 1)
  if before == 'dead' then tally(campaign, 'n:dead:' .. reason_in(value), -1) end
  if state == 'dead' then tally(campaign, 'n:dead:' .. (field_of(fields, 'reason') or ''), 1) end
  if state == 'sent' and before ~= 'sent' then
    tally(campaign, 'segments_sent', tonumber(field_of(fields, 'segments')) or 1)
  end
  if UNSETTLED[state] or before == 'dead' then campaign.works = true end -- its state may have to change
end

-- Whether the message is one of a campaign, and settled: then its recipient's value is all that is kept of it.
local function move_recipient(id, state, fields)
  local campaign, number, bucket, value = recipient_of(id)
  if not campaign or not CODES[state] then return false end
  redis.pcall('HSET', bucket, number, packed_result(campaign, state, fields))
  count_move(campaign, value, state, fields)
  return not UNSETTLED[state]
end

-- Let a recipient have these values, and no message, again: theirs is dead, and its text is lost. Whether they have.
local function undo_expansion(id, values)
  local campaign, number, bucket, value = recipient_of(id)
  if not campaign or state_in(value) ~= 'dead' then return false end
  redis.call('HSET', bucket, number, values)
  tally(campaign, 'n:dead', -1)
  tally(campaign, 'n:dead:' .. reason_in(value), -1)
  tally(campaign, 'n:' .. campaign.rest, 1)
  campaign.works = true
  campaign.at = math.min(campaign.at, (bounds_of(campaign.version, hash_of(campaign.version, number))))
  redis.pcall('HSET', campaign.key, 'at', campaign.at)
  return true
end

at_end[#at_end + 1] = function()
  for name, campaign in pairs(met) do
    if campaign and next(campaign.moved) then
      for field, by in pairs(campaign.moved) do
        if by ~= 0 then redis.pcall('HINCRBY', campaign.key, field, by) end
      end
      if campaign.works then redis.pcall('SADD', ACTIVE, name) end
    end
  end
end
