-- popular_category_by_age_group: posts per category in each age group, the most popular first
SELECT age_group,      -- age of the users: 18-24, 25-35, 36-50, 50+
       category,       -- category of the posts
       category_count, -- number of posts
       rank            -- place in the group; equal values share a place
FROM (
  SELECT *,
         rank() OVER (PARTITION BY age_group ORDER BY category_count DESC) AS rank,
         row_number() OVER (PARTITION BY age_group ORDER BY category_count DESC, category COLLATE "C") AS place
  FROM (
    SELECT CASE WHEN users.age <= 24 THEN '18-24'
                WHEN users.age <= 35 THEN '25-35'
                WHEN users.age <= 50 THEN '36-50'
                ELSE '50+' END AS age_group,
           pin.category,
           count(*) AS category_count
    FROM pin_table AS pin JOIN user_table AS users USING (ind)
    WHERE users.age >= 18 AND pin.category IS NOT NULL
    GROUP BY 1, pin.category
  ) AS counted
) AS ranked
WHERE {top} = 0 OR place <= {top} OR rank = 1
