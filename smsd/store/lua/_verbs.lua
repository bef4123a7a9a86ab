-- _verbs: what a person may do to a campaign depends on its state.

local function is_among(value, list)
  for _, one in ipairs(list) do
    if one == value then return true end
  end
  return false
end

-- How many recipients it has in these states.
local function count_in(campaign, states)
  local sum = 0
  for _, state in ipairs(states) do sum = sum + (tonumber(redis.call('HGET', campaign, 'n:' .. state)) or 0) end
  return sum
end
