/* log */
#include "relaypool.h"
