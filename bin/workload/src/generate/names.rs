//! Lists of names: countries as the Faker library spells them (with commas, apostrophes, ampersands and parentheses,
//! which is what makes them worth having), people's names, and categories.

/// Countries with their weights: a few lead, most are rare.
#[rustfmt::skip]
pub const COUNTRIES: [(&str, u32); 243] = [
    ("Afghanistan", 420), ("Albania", 560), ("Algeria", 480), ("American Samoa", 310), ("Andorra", 230),
    ("Angola", 165), ("Anguilla", 162), ("Antarctica (the territory South of 60 deg S)", 159),
    ("Antigua and Barbuda", 156), ("Argentina", 230), ("Armenia", 150), ("Aruba", 340), ("Australia", 144),
    ("Austria", 141), ("Azerbaijan", 138), ("Bahamas", 135), ("Bahrain", 132), ("Bangladesh", 129), ("Barbados", 126),
    ("Belarus", 123), ("Belgium", 120), ("Belize", 117), ("Benin", 114), ("Bermuda", 111), ("Bhutan", 108),
    ("Bolivia", 105), ("Bosnia and Herzegovina", 102), ("Botswana", 99), ("Bouvet Island (Bouvetoya)", 96),
    ("Brazil", 93), ("British Indian Ocean Territory (Chagos Archipelago)", 90), ("British Virgin Islands", 87),
    ("Brunei Darussalam", 84), ("Bulgaria", 81), ("Burkina Faso", 78), ("Burundi", 75), ("Cambodia", 72),
    ("Cameroon", 69), ("Canada", 66), ("Cape Verde", 63), ("Cayman Islands", 60), ("Central African Republic", 57),
    ("Chad", 54), ("Chile", 51), ("China", 48), ("Christmas Island", 45), ("Cocos (Keeling) Islands", 42),
    ("Colombia", 39), ("Comoros", 36), ("Congo", 33), ("Cook Islands", 30), ("Costa Rica", 27), ("Cote d'Ivoire", 24),
    ("Croatia", 21), ("Cuba", 18), ("Cyprus", 34), ("Czech Republic", 33), ("Denmark", 33), ("Djibouti", 33),
    ("Dominica", 33), ("Dominican Republic", 33), ("Ecuador", 33), ("Egypt", 33), ("El Salvador", 33),
    ("Equatorial Guinea", 32), ("Eritrea", 32), ("Estonia", 32), ("Ethiopia", 32),
    ("Falkland Islands (Malvinas)", 32), ("Faroe Islands", 32), ("Fiji", 32), ("Finland", 32), ("France", 31),
    ("French Guiana", 31), ("French Polynesia", 31), ("French Southern Territories", 31), ("Gabon", 31),
    ("Gambia", 31), ("Georgia", 31), ("Germany", 31), ("Ghana", 30), ("Gibraltar", 30), ("Greece", 30),
    ("Greenland", 30), ("Grenada", 30), ("Guadeloupe", 30), ("Guam", 30), ("Guatemala", 30), ("Guernsey", 29),
    ("Guinea", 29), ("Guinea-Bissau", 29), ("Guyana", 29), ("Haiti", 29), ("Heard Island and McDonald Islands", 29),
    ("Holy See (Vatican City State)", 29), ("Honduras", 29), ("Hong Kong", 28), ("Hungary", 28), ("Iceland", 28),
    ("India", 28), ("Indonesia", 28), ("Iran", 28), ("Iraq", 28), ("Ireland", 28), ("Isle of Man", 27),
    ("Israel", 27), ("Italy", 27), ("Jamaica", 27), ("Japan", 27), ("Jersey", 27), ("Jordan", 27), ("Kazakhstan", 27),
    ("Kenya", 26), ("Kiribati", 26), ("Korea", 26), ("Kuwait", 26), ("Kyrgyz Republic", 26),
    ("Lao People's Democratic Republic", 26), ("Latvia", 26), ("Lebanon", 26), ("Lesotho", 25), ("Liberia", 25),
    ("Libyan Arab Jamahiriya", 25), ("Liechtenstein", 25), ("Lithuania", 25), ("Luxembourg", 25), ("Macao", 25),
    ("Macedonia", 25), ("Madagascar", 24), ("Malawi", 24), ("Malaysia", 24), ("Maldives", 24), ("Mali", 24),
    ("Malta", 24), ("Marshall Islands", 24), ("Martinique", 24), ("Mauritania", 23), ("Mauritius", 23),
    ("Mayotte", 23), ("Mexico", 23), ("Micronesia", 23), ("Moldova", 23), ("Monaco", 23), ("Mongolia", 23),
    ("Montenegro", 22), ("Montserrat", 22), ("Morocco", 22), ("Mozambique", 22), ("Myanmar", 22), ("Namibia", 22),
    ("Nauru", 22), ("Nepal", 22), ("Netherlands", 21), ("Netherlands Antilles", 21), ("New Caledonia", 21),
    ("New Zealand", 21), ("Nicaragua", 21), ("Niger", 21), ("Nigeria", 21), ("Niue", 21), ("Norfolk Island", 20),
    ("Northern Mariana Islands", 20), ("Norway", 20), ("Oman", 20), ("Pakistan", 20), ("Palau", 20),
    ("Palestinian Territory", 20), ("Panama", 20), ("Papua New Guinea", 19), ("Paraguay", 19), ("Peru", 19),
    ("Philippines", 19), ("Pitcairn Islands", 19), ("Poland", 19), ("Portugal", 19), ("Puerto Rico", 19),
    ("Qatar", 18), ("Reunion", 18), ("Romania", 18), ("Russian Federation", 18), ("Rwanda", 18),
    ("Saint Barthelemy", 18), ("Saint Helena", 18), ("Saint Kitts and Nevis", 18), ("Saint Lucia", 17),
    ("Saint Martin", 17), ("Saint Pierre and Miquelon", 17), ("Saint Vincent and the Grenadines", 17), ("Samoa", 17),
    ("San Marino", 17), ("Sao Tome and Principe", 17), ("Saudi Arabia", 17), ("Senegal", 16), ("Serbia", 16),
    ("Seychelles", 16), ("Sierra Leone", 16), ("Singapore", 16), ("Slovakia (Slovak Republic)", 16), ("Slovenia", 16),
    ("Solomon Islands", 16), ("Somalia", 15), ("South Africa", 15),
    ("South Georgia and the South Sandwich Islands", 15), ("Spain", 15), ("Sri Lanka", 15), ("Sudan", 15),
    ("Suriname", 15), ("Svalbard & Jan Mayen Islands", 15), ("Swaziland", 14), ("Sweden", 14), ("Switzerland", 14),
    ("Syrian Arab Republic", 14), ("Taiwan", 14), ("Tajikistan", 14), ("Tanzania", 14), ("Thailand", 14),
    ("Timor-Leste", 13), ("Togo", 13), ("Tokelau", 13), ("Tonga", 13), ("Trinidad and Tobago", 13), ("Tunisia", 13),
    ("Turkey", 13), ("Turkmenistan", 13), ("Turks and Caicos Islands", 12), ("Tuvalu", 12), ("Uganda", 12),
    ("Ukraine", 12), ("United Arab Emirates", 12), ("United Kingdom", 12),
    ("United States Minor Outlying Islands", 12), ("United States Virgin Islands", 12),
    ("United States of America", 11), ("Uruguay", 11), ("Uzbekistan", 11), ("Vanuatu", 11), ("Venezuela", 11),
    ("Vietnam", 11), ("Wallis and Futuna", 11), ("Western Sahara", 11), ("Yemen", 10), ("Zambia", 10),
    ("Zimbabwe", 10),
];

/// Categories with the width of their range of indexes: a table of posts is sorted by category.
pub const CATEGORIES: [(&str, u32); 16] = [
    ("art", 890),
    ("beauty", 750),
    ("christmas", 1000),
    ("diy-and-crafts", 830),
    ("education", 860),
    ("event-planning", 750),
    ("finance", 790),
    ("food-and-drink", 810),
    ("gardening", 640),
    ("home-decor", 860),
    ("mens-fashion", 850),
    ("photography", 580),
    ("quotes", 910),
    ("tattoos", 970),
    ("travel", 860),
    ("vehicles", 840),
];

/// First names.
#[rustfmt::skip]
pub const FIRST: &[&str] = &[
    "Aaron", "Abigail", "Adam", "Adrian", "Adrienne", "Alan", "Albert", "Alejandra", "Alex", "Alexander", "Alexandra", "Alexandria",
    "Alexis", "Alice", "Alicia", "Alison", "Allen", "Allison", "Alvin", "Amanda", "Amber", "Amy", "Andre", "Andrea", "Andrew",
    "Angela", "Ann", "Anna", "Anne", "Annette", "Anthony", "Antonio", "April", "Ariel", "Ashley", "Austin", "Barbara", "Becky",
    "Benjamin", "Beth", "Betty", "Billy", "Bobby", "Bradley", "Brandon", "Brenda", "Brett", "Brian", "Brittany", "Brooke", "Bruce",
    "Bryan", "Caitlin", "Carl", "Carla", "Carlos", "Carol", "Carolyn", "Carrie", "Cassandra", "Catherine", "Chad", "Charles",
    "Chelsea", "Christian", "Christina", "Christine", "Christopher", "Cindy", "Claire", "Cody", "Colleen", "Corey", "Courtney",
    "Craig", "Crystal", "Curtis", "Cynthia", "Dale", "Daniel", "Danielle", "Darryl", "David", "Dawn", "Deborah", "Debra", "Dennis",
    "Derek", "Diana", "Diane", "Donald", "Donna", "Douglas", "Dustin", "Dylan", "Edward", "Elizabeth", "Emily", "Eric", "Erica",
    "Erik", "Erin", "Ethan", "Evelyn", "Frank", "Gabriel", "Gary", "George", "Gina", "Glenn", "Gloria", "Grace", "Gregory", "Hannah",
    "Harold", "Heather", "Heidi", "Helen", "Henry", "Holly", "Ian", "Isaac", "Jacob", "Jacqueline", "James", "Jamie", "Janet",
    "Jasmine", "Jason", "Jeffrey", "Jennifer", "Jeremy", "Jessica", "Jill", "Joanna", "Joel", "John", "Jonathan", "Jordan", "Jose",
    "Joseph", "Joshua", "Joy", "Juan", "Julia", "Julie", "Justin", "Karen", "Katherine", "Kathleen", "Kayla", "Keith", "Kelly",
    "Kenneth", "Kevin", "Kimberly", "Kristen", "Kyle", "Larry", "Laura", "Lauren", "Leah", "Leslie", "Linda", "Lisa", "Logan", "Lori",
    "Louis", "Lucas", "Madison", "Marcus", "Margaret", "Maria", "Marie", "Mark", "Martin", "Mary", "Mathew", "Matthew", "Megan",
    "Melanie", "Melissa", "Michael", "Michelle", "Miguel", "Molly", "Monica", "Nancy", "Natalie", "Nathan", "Nicholas", "Nicole",
    "Olivia", "Oscar", "Pamela", "Patricia", "Patrick", "Paul", "Peter", "Philip", "Rachel", "Ralph", "Randy", "Raymond", "Rebecca",
    "Renee", "Richard", "Robert", "Robin", "Roger", "Ronald", "Rose", "Russell", "Ruth", "Ryan", "Samantha", "Samuel", "Sandra",
    "Sara", "Sarah", "Scott", "Sean", "Shannon", "Sharon", "Sheila", "Sophia", "Stacy", "Stephanie", "Stephen", "Steven", "Susan",
    "Tamara", "Tanya", "Taylor", "Teresa", "Terry", "Theresa", "Thomas", "Tiffany", "Timothy", "Tina", "Todd", "Tracy", "Travis",
    "Tyler", "Valerie", "Vanessa", "Veronica", "Victor", "Victoria", "Vincent", "Virginia", "Walter", "Wanda", "Wayne", "Wendy",
    "Wesley", "Whitney", "William", "Willie", "Zachary", "José", "Zoë", "François", "Jürgen", "Siobhán",
];

/// Beginnings of last names; with [`LAST_ENDS`] they make some thousands.
#[rustfmt::skip]
pub const LAST_STEMS: &[&str] = &[
    "Abbot", "Ander", "Apple", "Arm", "Ash", "Bald", "Barn", "Bart", "Beck", "Bell", "Ben", "Berg", "Black", "Brad", "Brock", "Brown",
    "Buck", "Burn", "Cald", "Car", "Chand", "Clay", "Cliff", "Cole", "Cott", "Craw", "Daw", "Dean", "Dick", "Dods", "Dun", "East",
    "Ed", "El", "Ever", "Fair", "Fer", "Field", "Fitz", "Flet", "Fox", "Frank", "Free", "Full", "Gar", "Gib", "Good", "Grant", "Green",
    "Ham", "Han", "Har", "Hast", "Hen", "High", "Hill", "Hol", "Horn", "Hud", "Hunt", "Jack", "Jen", "John", "Kell", "Ken", "King",
    "Lamb", "Lang", "Law", "Leigh", "Lin", "Living", "Lock", "Long", "Mal", "Man", "Mar", "Mat", "Mid", "Mill", "Mor", "Nel", "New",
    "Nor", "Oak", "Old", "Os", "Park", "Pat", "Pem", "Pen", "Pres", "Ram", "Rand", "Red", "Rich", "Robin", "Rock", "Ros", "Rother",
    "Row", "Ruther", "Sand", "Shel", "Sher", "Sim", "Skel", "Staf", "Stan", "Stein", "Step", "Stod", "Sulli", "Suther", "Tem", "Thorn",
    "Til", "Town", "Under", "Vaugh", "Wal", "War", "Wash", "Water", "Web", "Wel", "West", "Wet", "Whit", "Wil", "Win", "Wood", "Yard",
];

/// Ends of last names.
#[rustfmt::skip]
pub const LAST_ENDS: &[&str] = &[
    "", "s", "son", "ton", "ley", "field", "ford", "man", "er", "well", "berg", "wood", "by", "worth", "bridge", "ham", "more", "stone",
    "land", "smith", "bury", "kins", "ing", "croft", "house",
];
