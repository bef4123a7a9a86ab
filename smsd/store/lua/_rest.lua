-- _rest: recipients of a campaign without a message, all at once.

-- They get `state`: what their values are is read as that from now on, and nobody has to touch each. Returns how many.
local function settle_rest(campaign, state)
  local many = tonumber(redis.call('HGET', campaign, 'n:unexpanded')) or 0
  if many <= 0 then return 0 end
  redis.call('HINCRBY', campaign, 'n:' .. state, many)
  redis.call('HSET', campaign, 'n:unexpanded', 0, 'rest', state)
  return many
end
