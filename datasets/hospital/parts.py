"""The parts of the sample's hospital: a text that ``scene`` reads, and the colours of the materials.

Coordinates are ``x y height`` in metres: x along the corridor, y to the right, the floor at height 0. After ``=`` and
its name, a model lists its parts:

    box material x x y y height height              between two planes across each axis
    rod material x y height x y height radius       a round rod between two points
    ball material x y height radius radius radius   an ellipsoid
    model                                           all parts of another model

A line may end in ``@ x y height yaw tilt size flip``, of which the last may be left out: a frame that the part is given
in. The yaw turns x towards y, the tilt lifts x, in degrees; a flip of -1 mirrors y. A second ``@`` holds the first.
A list makes many parts of a line: ``a|b``, ``first:last:count``. Lists go in step; a short one starts again, and
``low~high~start`` spreads values by the golden ratio. A line with ``±`` stands for two, with + and with - at every ±.
"""

COLOURS = """
floor bdc4bf  ceiling edede8  wall ede8d9  dado b3d1cc  stripe 428290  frame 8c99a1  door c2996b  lamp fffff7
rail 9e734d  steel c7ccd4  dark 33363b  white ebedf2  sheet a8cce6  mattress 5c8fad  curtain 85b8ad  seat 387094
red cc241f  sign 1a599e  cross edf0f0  bag d9e6c7  leaf 407a33  bark 5c4736  facade c7b39e  brick a86b57  pane 4d6173
grass 6b8f47  hill 5c805c
"""

MODELS = """
= bed
box white     .1   2.05  -.42 .42  .42 .5
box mattress  .75  2.04  -.41 .41  .5  .64
box sheet     .95  2.06  -.43 .43  .52 .66
rod steel  .05|2.1 ±.42 .12  .05|2.1 ±.42 1.05|.92  .016
ball dark  .05|2.1 ±.42 .06  .06 .03 .06
rod steel  .05|2.1 -.42 1.05|.92|.83|.7  .05|2.1 .42 1.05|.92|.83|.7  .013
box white  .04|2.09 .06|2.11  -.36 .36  .5 .79|.66
rod steel  .5 ±.45 .72|.82|.92  1.55 ±.45 .72|.82|.92  .009
rod steel  .5:1.55:4 ±.45 .46  .5:1.55:4 ±.45 .92  .009
= drip
rod steel  0 0 .1|1.25  0 0 1.25|2.05  .012|.007
rod steel  0 0 .12  .28 0 .06  .01  @ 0 0 0 0:288:5
ball dark  .28 0 .03  .03 .02 .03  @ 0 0 0 0:288:5
rod steel  0 0 2.03  0 ±.14 2.05  .005
ball bag   0 ±.14 1.87  .03 .06 .12
rod bag    0 ±.14 1.76  .02 .03 1.3  .003
box white  0 .12  -.08 .08  1.15 1.35
box sign   .12 .122  -.06 .06  1.24 1.32
= chair
box seat   -.22 .22  -.23 .23  .42 .46
box seat   -.2 .2  -.23 .23  -.02 .02  @ -.24 0 .68 0 -78
rod steel  .2|-.2 ±.2 0  .2|-.2 ±.2 .42  .011
= wheelchair
box dark   -.2|-.24 .22|-.2  -.2 .2  .48|.5 .52|.95
rod dark|steel|dark  -.1|-.1|.33 ±.268|±.264|±.265 .3|.3|.09  -.1|-.1|.33 ±.292|±.296|±.295 .3|.3|.09  .3|.24|.09
rod steel  -.22|-.22|-.22|.2 ±.2296 .1|.98|.72|.72  -.22|-.36|.2|.38 ±.2296 1|.98|.72|.12  .011|.012|.011|.011
box dark   .32 .5  ±.1496 ±.3096  .1 .12
= trolley
rod steel  .38|-.38 ±.22 .08  .38|-.38 ±.22 1.05  .01
ball dark  .38|-.38 ±.22 .05  .05 .03 .05
rod steel  .38|-.38 -.22 1.03  .38|-.38 .22 1.03  .01
box white  -.38 .38  -.22 .22  .25|.6|.92 .275|.625|.945
rod bag|sign|white  -.28:.24:5 .08 .945  -.28:.24:5 .08 1.06|1.09|1.12  .032
box red    -.2 .12  -.14 .1  .625 .76
box sheet  -.3 .26  -.16 .14  .275 .45
= plant
rod brick  0 0 0  0 0 .38  .17
rod bark   0 0 .38  0 0 .95  .015
ball leaf  .11 0 0  .13 .055 .09  @ 0 0 .72:1.28:9 0:1100:9
= tree
rod bark   0 0 0  0 0 5  .16
ball leaf  0|1.2|-1|.2 0|.5|.8|-1.3 7|5.6|5.8|5.4  2.4|1.8|1.7|1.8 2.4|1.8|1.7|1.8 2.04|1.53|1.445|1.53
= door
box door   0 1.14  -.022 .022  .01 2.05
box steel  .03 1.11  -.025 .025  .02 .32
rod steel  .92 ±.06 1.02  1.08 ±.06 1.02  .011
rod steel  1.06 0 1.02  1.06 ±.06 1.02  .009
= curtain
rod steel    3.4 0 2.3  5.94 0 2.3  .012
rod steel    3.5|4.7 0 2.3  3.5|4.7 0 2.8  .008
box curtain  -.075 .075  -.012 .012  .35 2.27  @ 4.9:5.82:9 0 0 -35|35
= room
box wall   1 2.2  1.5 1.62  2.1 2.8
box wall   0|5.2|.8|.8 .8|6|5.2|5.2  6.5 6.7  0|0|0|2.45 2.8|2.8|.85|2.8
box frame  .93|2.19|1.01 1.01|2.27|2.19  1.47 1.65  0|0|2.06 2.14
box frame  .8|5.15 .85|5.2  6.53 6.57  .85 2.45
box frame  -.018 .018  6.53 6.57  .85 2.45  @ 1.9125:4.0875:3 0
box frame  .8 5.2  6.532 6.568  .857|1.932|2.407 .893|1.968|2.443
box sign   2.45 2.75  1.5 1.488  1.5 1.65
box white  5.45 5.9  3.55|5.85 3.95|6.25  .08 .75
box lamp   2.4 3.6  3.7 4.3  2.75 2.8
= rooms
room                     @ 0|6 0
bed12|bed35|bed35|bed12  @ 5.85|11.85 2.95|2.95|5.25|5.25 0 180
= gallery
box wall   0 7.4  1.5 1.62  0|2.5 .75|2.8
box frame  0|7.35 .05|7.4  1.52 1.6  .75 2.5
box frame  -.018 .018  1.52 1.6  .75 2.5  @ 1.25:6.15:5 0
box frame  0 7.4  1.522 1.598  .757|1.982|2.457 .793|2.018|2.493
= hospital
box floor    -2|-.1|-.1|19.9 40.1|36.1|12.1|32.1  -1.62|-6.7|1.62|1.62 1.62|-1.62|6.7|6.7  -.3 0
box ceiling  -2|-.1|-.1|19.9 40.1|36.1|12.1|32.1  -1.62|-6.7|1.62|1.62 1.62|-1.62|6.7|6.7  2.8 3.1
box facade   -2|0|20 40|12|32  -6.6|1.6|1.6 1.6|6.6|6.6  -7 -.31
box facade   12.06|19.9|32.06 12.1|19.94|32.1  1.63 6.71  -.3 3.1
box wall     -2|2.2|8.2|14.2|20.2|26.2|32.2 1|7|13|19|25|31|40  -1.62 -1.5  0 2.8
box wall     -2|2.2|8.2|19.7|22.2|28.2|39.7 1|7|12.3|21|27|32.3|40  1.5 1.62  0 2.8
box wall     -.06 .06  -6.5 -1.62  0 2.8  @ 0:36:7 0
box wall     -.06 .06  1.62 6.5  0 2.8  @ 0|6|12|20|26|32 0
box wall     -2.12 -2  -1.5 1.5  0 2.8
box wall     39.98 40.1  -1.5|1.3|-1.3|-1.3 -1.3|1.5|1.3|1.3  0|0|0|2.6 2.8|2.8|.1|2.8
box frame    39.98 40.02  ±.407|±1.25 ±.443|±1.3  .1 2.6
box frame    39.982 40.018  -1.3 1.3  .107|2.082|2.557 .143|2.118|2.593
box lamp     -.6 .6  -.15 .15  2.75 2.8  @ 1.5:37.5:13 0
gallery  @ 12.3|32.3 0
rooms    @ 0|12|24 0 0 0 0 1 -1
rooms    @ 0|20 0
door     @ 1.02:31.02:6 -1.56 0 -84|-97|-35|-102|-14|-76
door     @ 1.02|7.02|21.02|27.02 1.56 0 102|14|76|84
curtain  @ 0:30:6 -4.1
curtain  @ 0|6|20|26 4.1
drip         @ 5.5:35.5:6 ±1.15 0 0:200:6 @ 0 -3.35
drip         @ 5.5|11.5|25.5|31.5 ±1.15 0 0:120:4 @ 0 3.35
rod rail     -1.8|2.3|8.3|14.3|20.3|26.3|32.3 -1.42 .9  .9|6.9|12.9|18.9|24.9|30.9|39.7 -1.42 .9  .02
rod rail     -1.8|2.3|8.3|22.3|28.3 1.42 .9  .9|6.9|20.9|26.9|39.7 1.42 .9  .02
rod steel 0 -1.42 .88 0 -1.5 .85 .008 @ -1.6:.8:3|2.5:6.1:4|8.5:12.1:4|14.5:18.1:4|20.5:24.1:4|26.5:30.1:4|32.5:38.5:6 0
rod steel    0 1.42 .88  0 1.5 .85  .008  @ -1.6:.8:3|2.5:6.1:4|8.5:20.5:11|22.5:26.1:4|28.5:39.3:10 0
bed40|bed8   @ 8.9|28.7 .93|.95
drip         @ 4.6|11.35|16.4|31.6 1.12|.95|-1.1|1 0 70|0|200|120
trolley      @ 5.2|29 -1.13
wheelchair   @ 11|34.2 -1.08|-1.05 0 20|-25
chair        @ 13.6:14.8:3|17|17.6|34.4:35.6:3 1.15 0 -90
plant        @ 12.7|19.4|33.2|38.6 1.15
rod steel    0 1.22 0  0 1.22 .62  .16  @ 3.4|26.6 0
rod red      0 -1.4 .55  0 -1.4 .98  .075  @ 4|27.2 0
ball red     0 -1.4 .98  .075 .075 .06  @ 4|27.2 0
rod dark     0 -1.4 1  0 -1.34 1.08  .018  @ 4|27.2 0
box sign|cross|sign  -.02 .02  -.7 .7  2.18 2.48  @ 6|18|30 0
rod steel    0 ±.6 2.48  0 ±.6 2.8  .007  @ 6|18|30 0
box frame    23.94 24.06  ±1.1 ±1.5  0 2.8
box frame    23.94 24.06  -1.1 1.1  2.3 2.8
box door     0 1.02  -.022 .022  .01 2.28  @ 24.1 ±1.06 0 ±9
rod steel    .9 -.05|.05 .8  .9 -.05|.05 1.3  .012  @ 24.1 1.06|-1.06 0 9|-9
rod white    13 -1.5 2.2  13 -1.46 2.2  .17
rod dark     13 -1.455 2.2  13.08|13 -1.455 2.28|2.33  .008|.006
town         @ 18 0 -7
= town
rod grass  0 0 -1  0 0 0  430
rod steel  0 0 0  0 0 9.5  .06  @ -20:34:10 -15|14
rod steel  0 0 9.5  0 1.2|-1.2 9.6  .04  @ -20:34:10 -15|14
tree       @ 30~75~.37 0:0:44 0 0 0 .7~1.25~.71  @ 0 0 0 -180~180~0
box brick|facade|facade  -6~-14~.83 6~14~.83  -6~-18~.13 6~18~.13  0 \
    15.4~52.8~.45|7~24~.45|7~24~.45|7~24~.45|7~24~.45|7~24~.45  @ 125~290~.55 0:0:46 0 -35~35~.9  @ 0 0 0 -180~180~.2
ball hill  345 0 0  70 75~120~.3 14~50~.6  @ 0 0 0 0:340:18  @ 0 0 0 -6~6~0
"""
